"""What YAML may say: one small file per section (`sections/`), the customer, and the inventory. Strict on purpose."""
