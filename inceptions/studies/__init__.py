"""The papers' comparisons as experiments that one can run: what is compared (`catalog`), the running (`run`), the verdict (`verdict`)."""
