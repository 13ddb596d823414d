"""Mini-Combo: a small synthetic copy of the network study of Egele et al. (arXiv 2207.00479).

Combo of ECP-CANDLE predicts how a cell line grows under two drugs. Its data are 85,303
measurements of 59 cell lines and 54 drugs; these here are made (`combo.synthetic`). The network
and its 22 parameters are those of the study, with widths an eighth (`combo.network`,
`combo.training`). `combo.surrogate` predicts the learning curve of any configuration from real
trainings, so that thousands of workers can be simulated.
"""
