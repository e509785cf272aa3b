"""What `weightdrop up` runs: starts, watches, restarts and stops the local stack.

::

    layout      which processes there are, on which ports, with which environment
    preflight   all that must hold before anything is started
    processes   /proc: who is whose child, who belongs to a stack
    children    one process under watch: start, answer, restart, stop, bounded log
    stack       stack.json, by which the other commands find a running stack
    supervisor  the loop
"""
