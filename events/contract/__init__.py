"""What the application says to others, and to those who come after: the faces of its events as documents.

`catalog` gathers what is known of events and who publishes, handles and forwards them; `page`, `graph` and `layout`
make a web page of it. `asyncapi` writes the contract document with the help of `schemas`, and `yaml` is the form in
which most expect it. `routes` says which bridges there are.
"""
