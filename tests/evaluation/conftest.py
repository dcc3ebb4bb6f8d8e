"""lm-eval is an extra: without it, what imports it is left out."""

from importlib.util import find_spec

_NEED_IT = ["test_choice_tasks.py", "test_known_tasks.py", "test_during_training.py"]
collect_ignore = [] if find_spec("lm_eval") else _NEED_IT
