// Stands in for the toolkit's header: libtorch's headers name these types and hold them behind pointers.
#pragma once

#include <cuda_runtime_api.h>
typedef struct cublasContext* cublasHandle_t;
typedef enum { CUBLAS_STATUS_SUCCESS = 0 } cublasStatus_t;
