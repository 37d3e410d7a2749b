"""Files of other shapes than ours, mapped to lines. Not here: the path all sources share."""
