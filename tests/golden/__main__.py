"""`make golden`: writes rows and lines of `cases.jsonl` anew; review the change as a diff."""

from __future__ import annotations

from tests.golden import CASES, cases_anew, text_of

if __name__ == "__main__":
    CASES.write_text("".join(map(text_of, cases_anew())), "utf-8")
    print(f"wrote {CASES}")
