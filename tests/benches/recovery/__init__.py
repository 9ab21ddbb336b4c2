"""How Lockstep, torchrun and torchft get over faults: three sides with the same verbs, and one file for each row."""
