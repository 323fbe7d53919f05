"""What a state machine plays with the queue: machines, people, troubles, and what must hold."""
