//! Constants of cuDNN's graph API, of `cudnn_graph_v9.h`, with the names of the header without its prefixes.

/// `cudnnBackendDescriptorType_t`.
pub(super) mod descriptor {
    pub const CONVOLUTION: i32 = 1;
    pub const ENGINE: i32 = 2;
    pub const ENGINE_CONFIG: i32 = 3;
    pub const ENGINE_HEURISTIC: i32 = 4;
    pub const EXECUTION_PLAN: i32 = 5;
    pub const CONVOLUTION_FORWARD: i32 = 10;
    pub const CONVOLUTION_BACKWARD_FILTER: i32 = 11;
    pub const CONVOLUTION_BACKWARD_DATA: i32 = 12;
    pub const OPERATION_GRAPH: i32 = 15;
    pub const VARIANT_PACK: i32 = 16;
    pub const TENSOR: i32 = 17;
    pub const DEVICE_PROPERTIES: i32 = 38;
}

/// `cudnnBackendAttributeType_t`.
pub(super) mod kind {
    pub const HANDLE: i32 = 0;
    pub const DATA_TYPE: i32 = 1;
    pub const BOOLEAN: i32 = 2;
    pub const INT64: i32 = 3;
    pub const FLOAT: i32 = 4;
    pub const VOID_PTR: i32 = 6;
    pub const CONVOLUTION_MODE: i32 = 7;
    pub const HEURISTIC_MODE: i32 = 8;
    pub const NUMERICAL_NOTE: i32 = 11;
    pub const BACKEND_DESCRIPTOR: i32 = 15;
    pub const CHAR: i32 = 24;
}

/// `cudnnBackendAttributeName_t`.
pub(super) mod attribute {
    pub const CONVOLUTION_COMP_TYPE: i32 = 100;
    pub const CONVOLUTION_CONV_MODE: i32 = 101;
    pub const CONVOLUTION_DILATIONS: i32 = 102;
    pub const CONVOLUTION_FILTER_STRIDES: i32 = 103;
    pub const CONVOLUTION_POST_PADDINGS: i32 = 104;
    pub const CONVOLUTION_PRE_PADDINGS: i32 = 105;
    pub const CONVOLUTION_SPATIAL_DIMS: i32 = 106;

    pub const HEURISTIC_MODE: i32 = 200;
    pub const HEURISTIC_OPERATION_GRAPH: i32 = 201;
    pub const HEURISTIC_RESULTS: i32 = 202;
    #[cfg(test)]
    pub const HEURISTIC_DEVICE_PROPERTIES: i32 = 204;

    pub const ENGINE_CONFIG_ENGINE: i32 = 300;

    pub const EXECUTION_PLAN_HANDLE: i32 = 400;
    pub const EXECUTION_PLAN_ENGINE_CONFIG: i32 = 401;
    pub const EXECUTION_PLAN_WORKSPACE_SIZE: i32 = 402;
    #[cfg(test)]
    pub const EXECUTION_PLAN_DEVICE_PROPERTIES: i32 = 407;

    pub const FORWARD_ALPHA: i32 = 700;
    pub const FORWARD_BETA: i32 = 701;
    pub const FORWARD_CONV_DESC: i32 = 702;
    pub const FORWARD_W: i32 = 703;
    pub const FORWARD_X: i32 = 704;
    pub const FORWARD_Y: i32 = 705;
    pub const BACKWARD_DATA_ALPHA: i32 = 706;
    pub const BACKWARD_DATA_BETA: i32 = 707;
    pub const BACKWARD_DATA_CONV_DESC: i32 = 708;
    pub const BACKWARD_DATA_W: i32 = 709;
    pub const BACKWARD_DATA_DX: i32 = 710;
    pub const BACKWARD_DATA_DY: i32 = 711;
    pub const BACKWARD_FILTER_ALPHA: i32 = 712;
    pub const BACKWARD_FILTER_BETA: i32 = 713;
    pub const BACKWARD_FILTER_CONV_DESC: i32 = 714;
    pub const BACKWARD_FILTER_DW: i32 = 715;
    pub const BACKWARD_FILTER_X: i32 = 716;
    pub const BACKWARD_FILTER_DY: i32 = 717;

    pub const OPERATION_GRAPH_HANDLE: i32 = 800;
    pub const OPERATION_GRAPH_OPS: i32 = 801;

    pub const TENSOR_BYTE_ALIGNMENT: i32 = 900;
    pub const TENSOR_DATA_TYPE: i32 = 901;
    pub const TENSOR_DIMENSIONS: i32 = 902;
    pub const TENSOR_STRIDES: i32 = 903;
    pub const TENSOR_UNIQUE_ID: i32 = 906;
    pub const TENSOR_IS_VIRTUAL: i32 = 907;

    pub const VARIANT_PACK_UNIQUE_IDS: i32 = 1000;
    pub const VARIANT_PACK_DATA_POINTERS: i32 = 1001;
    pub const VARIANT_PACK_WORKSPACE: i32 = 1003;

    pub const ENGINE_GLOBAL_INDEX: i32 = 1301;
    pub const ENGINE_NUMERICAL_NOTE: i32 = 1303;

    pub const DEVICE_PROPERTIES_HANDLE: i32 = 2701;
    pub const DEVICE_PROPERTIES_JSON: i32 = 2702;
}

/// `CUDNN_STATUS_SUCCESS`.
pub(super) const SUCCESS: i32 = 0;

/// `CUDNN_DATA_FLOAT`.
pub(super) const DATA_FLOAT: i32 = 0;

/// `CUDNN_DATA_BFLOAT16`.
pub(super) const DATA_BFLOAT16: i32 = 9;

/// `CUDNN_CROSS_CORRELATION`.
pub(super) const CROSS_CORRELATION: i32 = 1;

/// `cudnnBackendHeurMode_t`: those that are asked, in this order.
pub(super) mod heuristic {
    pub const FALLBACK: i32 = 2;
    pub const A: i32 = 3;
}

/// `cudnnBackendNumericalNote_t`.
pub(super) mod note {
    pub const TENSOR_CORE: i32 = 0;
    pub const DOWN_CONVERT_INPUTS: i32 = 1;
    pub const REDUCED_PRECISION_REDUCTION: i32 = 2;
    pub const FFT: i32 = 3;
    pub const NONDETERMINISTIC: i32 = 4;
    pub const WINOGRAD: i32 = 5;

    /// Room for all notes of an engine: more than there are.
    pub const MOST: usize = 32;
}
