#!/usr/bin/env python3
"""A hook that mails what a run found, unless it found nothing: mail.py TO [FROM] [SMTP HOST]

In the cluster file: reconcile: {hook: [/usr/local/lib/gx10-hooks/mail.py, ops@example.org]}
"""

import email.message
import json
import smtplib
import sys

report = json.load(sys.stdin)
if report["status"] == "in sync":
    sys.exit(0)
to, sender, server = (*sys.argv[1:4], "gx10@localhost", "localhost")[:3] if len(sys.argv) > 1 else sys.exit(__doc__)
message = email.message.EmailMessage()
message["To"], message["From"] = to, sender
message["Subject"] = f"{report['cluster']}: {report['status']}"
lines = [report["reason"], ""]
for one in report["operations"]:
    lines.append(f"{one['decision']} ({one['result']}) on {one['host']}: {one['name']}")
    lines += [f"    {told['subject']}: {told['found']}" for told in one["differences"]]
message.set_content("\n".join(lines))
with smtplib.SMTP(server, timeout=30) as smtp:
    smtp.send_message(message)
