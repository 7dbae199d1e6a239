// The metric is public; inside the floors it goes by this name.
#pragma once

#include "foreshore/vector_metric.h"
