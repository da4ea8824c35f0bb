"""Reports: a scan as a page to print, to send or to check, for the workshop or for the customer.

``source`` reads and checks what a report is made of, ``content`` says in both languages what the report says,
``page`` lays it out, ``seal`` signs it, ``printing`` makes a PDF of the page.
"""
