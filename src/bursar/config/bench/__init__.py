"""What is measured: shapes of ledgers, and how fast each kind of work goes on them."""
