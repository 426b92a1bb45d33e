"""What tests share: one campaign builder, and one stand of each kind."""
