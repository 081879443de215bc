"""The bridge to Label Studio: tasks go there, answers come back as annotations of known people.

`shape` and `reading` know its JSON, `people` whose answer it is, `recording` writes answers here, `remote` speaks to a
server through label-studio-sdk (extra `labelstudio`, imported only there).
"""
