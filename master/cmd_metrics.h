/* `explain-metrics`: the table of metrics as Markdown, which docs/metrics.md is. */
#ifndef MASTER_CMD_METRICS_H
#define MASTER_CMD_METRICS_H

#include "master/options.h"

int cmd_explain_metrics(const struct options *options);

#endif
