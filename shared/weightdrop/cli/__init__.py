"""The weightdrop command.

::

    main         the group, and how errors become exit statuses
    terminal     what reaches the terminal: escaped text, colours, JSON
    context      which stack or cloud a command speaks to
    client       the status function's HTTP interface
    render       a deployment, a finding, a plan for a person's eyes
    inspecting   check
    planning     plan
    stack        up
    dropping     drop
    copying      which files a drop copies, and in which order
    watching     status
    telling      events
    asking       ask
    steering     retry, rollback, promote, undeploy
    dead_letters dead-letters
    completing   completion
    demo         demo

Each command's module is loaded only when that command runs.
"""
