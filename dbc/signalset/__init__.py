"""Signal sets: the requests that a car answers, and what is in the answers.

Another kind of database than a DBC: values that an ECU gives only when it is asked. Two published formats are read,
OBDb's JSON (version 3) and Torque's CSV of own parameters.
"""
