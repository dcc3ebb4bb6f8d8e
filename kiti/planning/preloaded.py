"""Imported by the process from which those that take steps are forked: docs/what-it-costs.md."""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the first one ends the others
gc.disable()  # short processes with many small objects

import torchvision  # noqa: E402, F401  # the models of most sheets need it

import kiti.planning.meta_step  # noqa: E402, F401
