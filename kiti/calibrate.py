"""`python -m kiti.calibrate` is the command kiti-calibrate; imported, it is the function `kiti.calibrate`."""

import sys

if __name__ == "__main__":
    from kiti.cli.calibrate_command import main

    main()
else:
    from kiti.calibration.any_model import calibrate

    sys.modules[__name__] = calibrate  # type: ignore[assignment]
