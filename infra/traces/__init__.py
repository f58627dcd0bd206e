"""Traces of a local stack without an external service: spans are collected, kept within bounds and shown as text.

spans.py      a span, and its line of JSON
otlp.py       parses OTLP
files.py      the spans kept in a folder
collector.py  collects spans by OTLP over HTTP; as a program it is a part of the stack
waterfall.py  a trace as text
"""
