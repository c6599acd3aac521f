"""Four throw-away hosts on one machine, real where it matters: systemd, sshd, Docker, two networks, power, cables."""
