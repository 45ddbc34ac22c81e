"""What things cost: rating, invoices, taxes, payments, credits and budgets."""
