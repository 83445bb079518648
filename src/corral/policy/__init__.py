"""The rules: pure functions of what was seen and of `now`.

Three seams, because engines decide in three places: Scaler (how many, per revision), Choose (which instance, per call,
in pool.py) and Reserve (what is kept warm, per host)."""
