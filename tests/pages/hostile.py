"""Texts that would act if they were taken for markup."""

HOSTILE = (
    "<script>document.title = 'taken'</script>",
    "<svg onload=\"document.title='taken'\"></svg>",
    "<img src=x onerror=document.title='taken'>",
    "</pre></bdi></details></section></body></html><h1 id=loose>loose</h1>",
    "<a href=\"javascript:document.title='taken'\">here</a>",
    "<iframe srcdoc=\"<script>parent.document.title='taken'</script>\"></iframe>",
    "<style>body{display:none}</style>",
    '" onmouseover="document.title=\'taken\'" x="',
    "' autofocus onfocus='document.title=1' y='",
    "--><script>document.title='taken'</script><!--",
    "]]><script>document.title='taken'</script>",
    "<link rel=stylesheet href=//127.0.0.1:9/x.css><base href=//127.0.0.1:9/>",
    "&lt;script&gt; stays as it is, and so do &amp; and &#60;",
    "<meta http-equiv=refresh content=0;url=http://127.0.0.1:9/>",
    "$\\frac{1}{2}$ {{ 7 * 7 }} ${7*7} <%= 7 %>",
)
UNSEEN = "left \u202eright\u202c \u2066iso\u2069 \u200bzero \ufeffmark \x00nul \x1b[31mred \ud800lone \u2028line"
