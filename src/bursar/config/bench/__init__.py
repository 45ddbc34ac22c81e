"""What has a target is measured here: `bursar ledger bench`. Each figure stands beside a baseline taken in the same run."""
