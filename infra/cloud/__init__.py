"""From the sources to a running stack in AWS: the artifact, the template, and the deployment."""
