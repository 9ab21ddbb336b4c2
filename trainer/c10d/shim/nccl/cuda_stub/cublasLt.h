// Stands in for the toolkit's header: libtorch's headers name these types and hold them behind pointers.
#pragma once

#include <cublas_v2.h>
typedef struct cublasLtContext* cublasLtHandle_t;
