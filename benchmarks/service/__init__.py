"""What a request costs: our server against the one a LitServe user would write."""
