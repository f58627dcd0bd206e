"""Traces of a local stack without a service for them: spans are taken, kept within bounds and shown in the terminal.

spans.py      a span, and as a line of JSON
otlp.py       spans from the bytes of OTLP
files.py      the spans that are kept in a folder
collector.py  takes spans by OTLP over HTTP; as a program it is a part of the stack
waterfall.py  a trace as text
"""
