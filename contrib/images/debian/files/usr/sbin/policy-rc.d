#!/bin/sh
# Packages start nothing by themselves: what is to run is a script in /etc/hybrid/services.
exit 101
