"""A compact Mask R-CNN in torch: trained here, run as ONNX. Named and built as detectron2's GeneralizedRCNN."""
