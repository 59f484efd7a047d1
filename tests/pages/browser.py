"""A headless Chromium, driven through chromedriver's HTTP interface (WebDriver) by the standard library alone."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
MISSING = "Chromium and its driver are not installed (on Debian: apt-get install chromium chromium-driver)"


def is_installed() -> bool:
    return CHROMIUM is not None and DRIVER is not None


class Browser:
    """One window. What the page logs and asks the network for is recorded from the first page on."""

    def __init__(self, folder: Path, *, dark: bool = False, scripts: bool = True) -> None:
        self._driver = subprocess.Popen(
            [str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._base = ""
        try:
            self._base = f"http://127.0.0.1:{self._port()}"
            flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
            flags += [f"--user-data-dir={folder}", "--force-color-profile=srgb"]
            options = {"binary": CHROMIUM, "args": flags, "perfLoggingPrefs": {"enableNetwork": True}}
            capabilities = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
            self._base += f"/session/{session['sessionId']}"
            self.show(dark=dark)
            self._call("POST", "/url", {"url": "about:blank"})
            self.requested()  # the browser's own first page asks for its parts
            if not scripts:
                self.devtools("Emulation.setScriptExecutionDisabled", value=True)
        except BaseException:
            self.close()
            raise

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rpartition(" ")[2])
        raise RuntimeError("chromedriver did not start")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def show(self, *, dark: bool = False, paper: bool = False) -> None:
        """As a reader has it who likes it dark, or who prints."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])

    def open(self, path: Path, width: int = 1200) -> None:
        self.resize(width, 900)
        self._call("POST", "/url", {"url": path.as_uri()})

    def resize(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def run(self, script: str) -> Any:
        """The value of a script's `return`."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of an element, as a reader does it."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call("POST", f"/element/{element}/click", {})

    def screenshot(self, path: Path, width: int | None = None) -> bytes:
        """The whole page as PNG."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width or size["width"], "height": size["height"], "scale": 1}
        shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        data = base64.b64decode(shot["data"])
        path.write_bytes(data)
        return data

    def pdf(self, path: Path) -> bytes:
        printed = self.devtools("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        data = base64.b64decode(printed["data"])
        path.write_bytes(data)
        return data

    def messages(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def requested(self) -> list[str]:
        """Addresses that pages asked for since the last call."""
        events = [
            json.loads(entry["message"])["message"] for entry in self._call("POST", "/se/log", {"type": "performance"})
        ]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def close(self) -> None:
        if "/session/" in self._base:
            try:
                self._call("DELETE", "")
            except (OSError, RuntimeError):
                time.sleep(0.1)
        self._driver.terminate()
        self._driver.wait(timeout=20)
        if self._driver.stdout is not None:
            self._driver.stdout.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
