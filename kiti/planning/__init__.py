"""What a table's runs will cost, known before any is started and without reading data.

May import `units`, `residual`, `configuration`, `training` (not Lightning, which takes seconds to import) and `report`.
"""
