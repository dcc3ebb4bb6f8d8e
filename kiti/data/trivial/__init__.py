"""What a network has to beat: predictors without one, fitted on a run's training samples, of its test samples.

Those of texts and of language models are beside their data. May import what `data` may.
"""
