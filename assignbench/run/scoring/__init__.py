"""From weights to numbers: detections, evaluators, test-time views."""
