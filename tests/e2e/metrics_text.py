"""The text of GET /metrics, taken apart."""

import re

LABELS = r'(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)+)\})?'
SAMPLE = re.compile(rf"^([a-zA-Z_:][a-zA-Z0-9_:]*){LABELS} (\S+)$")
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
ENDINGS = ("_bucket", "_sum", "_count")


def samples(text):
    """{(name, label's value): number}; of two labels the values stand side by side: "0,+Inf"."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, line
        key = (match[1], ",".join(value for _, value in LABEL.findall(match[2] or "")))
        assert key not in found, f"{key} comes twice"
        found[key] = float(match[3])
    return found


def families(text):
    """{name as in TYPE: type}"""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


class Histogram:
    """One histogram of a scrape: checked for what a histogram promises."""

    def __init__(self, text, name, label=None):
        now = samples(text)
        before = f"{label}," if label else ""
        buckets = [(value.removeprefix(before), number) for (each, value), number in now.items()
                   if each == f"{name}_bucket" and value.startswith(before)]
        self.bounds = [float(bound) for bound, _ in buckets]
        self.texts = [bound for bound, _ in buckets]
        self.buckets = [number for _, number in buckets]
        self.sum, self.count = now[f"{name}_sum", label or ""], now[f"{name}_count", label or ""]
        assert self.bounds == sorted(self.bounds) and self.bounds[-1] == float("inf")
        assert self.buckets == sorted(self.buckets) and self.buckets[-1] == self.count
        assert self.count or not self.sum
