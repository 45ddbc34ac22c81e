"""Applications for quota: who may ask whom, what was asked and changed, who decided, and the award."""
