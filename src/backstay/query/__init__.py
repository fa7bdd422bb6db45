"""What is asked: the query IR, its values, and the planner where every refusal happens."""
