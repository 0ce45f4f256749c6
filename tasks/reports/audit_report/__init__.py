"""The audit of a range as one page to hand over: HTML without anything from elsewhere."""

import logging

# from its import on it tells of its cache of fonts, which is nothing to those who read the page
logging.getLogger("matplotlib").setLevel(logging.ERROR)
