"""Claims of the papers in prose, and what the committed outputs say of each: seen, not seen, undecided or not run.

`experiments/<paper>/claims.yaml` quotes the claims and names the rule that decides each; numbers come from committed
CSV files, records and benchmarks alone, so nothing here composes a configuration or imports torch.
"""
