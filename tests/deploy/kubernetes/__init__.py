"""Tests of deploy/kubernetes, which need no cluster: kubectl and helm make the objects, and plain processes run the pod."""
