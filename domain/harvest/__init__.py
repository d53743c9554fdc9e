"""When a machine may be used: what it is like now, what its owner allows, and the reason for every answer.

    readings   what is known of a machine now; None is unknown       probes    who asks the machine
    profiles   limits of phones, laptops, desktops and servers       machine   this one's probes, merged
    schedule   hours in which work is allowed                        trace     recorded readings, replayed
    policy     readings -> Run, Suspend or Evict; pure               history   the changes, for people
    reasons    every reason code, its meaning and its sentence       overrides  limits that settings change

Knows no job and no child process: whoever runs one asks `policy.step` every second or so and obeys. Only
`machine` and `probes` wait for anything; the rest are functions of their arguments, time included.

What must always hold: what is not known is never taken for a permission, except where a profile says so by
name; nothing runs beyond a limit for longer than it takes to read the next reading.
"""
