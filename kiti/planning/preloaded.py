"""Imported by the process from which those that take steps are forked: docs/what-it-costs.md."""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # a terminal sends it to all processes: this one ends without a traceback
gc.disable()  # short processes with many small objects

import torchvision  # noqa: E402, F401  # the models of most sheets need it

import kiti.planning.meta_step  # noqa: E402, F401

gc.freeze()  # what is imported lives as long as the process; looking through it at its end takes seconds
