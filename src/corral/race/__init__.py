"""The scaling rules raced on a trace of calls: the production Pool, Roster and rules, driven by an event heap."""
