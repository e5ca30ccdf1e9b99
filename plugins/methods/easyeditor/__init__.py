"""A bridge to the code of EasyEdit (https://github.com/zjunlp/EasyEdit, MIT): it edits, behind this suite's `Editor`.

It serves as an independent judge of the methods here. Its package is no dependency: the versions that it asks for are of
2022 and 2023, so it is installed without them, by `xkeb_plugins.methods.easyeditor.package.INSTALL`.
"""
