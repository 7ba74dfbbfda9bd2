"""The model server: it runs inside a serve job's sandbox and answers predictions over HTTP.

It speaks the Open Inference Protocol v2 (REST) and Seldon's ``/api/v1.0/predictions``, checks
API keys by itself from a file of hashes, and imports nothing else of ``nablahub``: the
``serving`` environment holds only numpy, onnxruntime and the HTTP parser.
"""
