"""Which data set is meant and where its files are: names, YAML files, folders."""
