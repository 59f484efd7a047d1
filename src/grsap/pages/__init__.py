"""Building blocks of HTML pages: single files, always escaped, without scripts or external resources."""

from grsap.pages.bars import FunnelStep, funnel_chart, histogram_chart, share_chart
from grsap.pages.charts import Change, Estimate, Series, Trade, change_chart, line_chart, trade_chart
from grsap.pages.figures import figure, part_legend, run_legend
from grsap.pages.markup import Content, Element, element, escape, render
from grsap.pages.page import Section, check_target, page, write_page
from grsap.pages.tables import badge, facts, table, with_interval
from grsap.pages.text_block import hidden, quoted

__all__ = [
    "Change",
    "Content",
    "Element",
    "Estimate",
    "FunnelStep",
    "Section",
    "Series",
    "Trade",
    "badge",
    "change_chart",
    "check_target",
    "element",
    "escape",
    "facts",
    "figure",
    "funnel_chart",
    "hidden",
    "histogram_chart",
    "line_chart",
    "page",
    "part_legend",
    "quoted",
    "render",
    "run_legend",
    "share_chart",
    "table",
    "trade_chart",
    "with_interval",
    "write_page",
]
