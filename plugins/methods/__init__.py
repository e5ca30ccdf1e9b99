"""The editing methods that come with the suite."""

from collections.abc import Callable
from typing import Any

from xkeb.registry.hookspecs import hookimpl


@hookimpl
def register_editors(register: Callable[[str, type[Any] | str], None]) -> None:
    register("alphaedit", "xkeb_plugins.methods.alphaedit:AlphaEdit")
    register("easyeditor-alphaedit", "xkeb_plugins.methods.easyeditor.alphaedit:EasyEditorAlphaEdit")
    register("easyeditor-emmet", "xkeb_plugins.methods.easyeditor.emmet:EasyEditorEmmet")
    register("easyeditor-ft", "xkeb_plugins.methods.easyeditor.ft:EasyEditorFineTuning")
    register("easyeditor-grace", "xkeb_plugins.methods.easyeditor.grace:EasyEditorGrace")
    register("easyeditor-ike", "xkeb_plugins.methods.easyeditor.ike:EasyEditorInContext")
    register("easyeditor-kn", "xkeb_plugins.methods.easyeditor.kn:EasyEditorKnowledgeNeurons")
    register("easyeditor-lora", "xkeb_plugins.methods.easyeditor.lora:EasyEditorLoRA")
    register("easyeditor-memit", "xkeb_plugins.methods.easyeditor.memit:EasyEditorMemit")
    register("easyeditor-r-rome", "xkeb_plugins.methods.easyeditor.r_rome:EasyEditorRebuiltRome")
    register("easyeditor-rome", "xkeb_plugins.methods.easyeditor.rome:EasyEditorRome")
    register("easyeditor-ultraedit", "xkeb_plugins.methods.easyeditor.ultraedit:EasyEditorUltraEdit")
    register("easyeditor-wise", "xkeb_plugins.methods.easyeditor.wise:EasyEditorWise")
    register("emmet", "xkeb_plugins.methods.emmet:Emmet")
    register("ft", "xkeb_plugins.methods.ft:FineTuning")
    register("ft-l", "xkeb_plugins.methods.ft:BoundedFineTuning")
    register("ft-m", "xkeb_plugins.methods.ft:MaskedFineTuning")
    register("grace", "xkeb_plugins.methods.grace.editor:Grace")
    register("ike", "xkeb_plugins.methods.ike:InContext")
    register("ike-original", "xkeb_plugins.methods.ike_recipes:OriginalInContext")
    register("ike-published", "xkeb_plugins.methods.ike_recipes:PublishedInContext")
    register("kn", "xkeb_plugins.methods.kn:KnowledgeNeurons")
    register("langedit", "xkeb_plugins.methods.langedit:LangEdit")
    register("locft-bf", "xkeb_plugins.methods.locft:LocalizedFineTuning")
    register("lora", "xkeb_plugins.methods.lora:LoRA")
    register("mend", "xkeb_plugins.methods.mend.editor:Mend")
    register("memit", "xkeb_plugins.methods.memit:Memit")
    register("memoir", "xkeb_plugins.methods.memoir.editor:Memoir")
    register("r-rome", "xkeb_plugins.methods.r_rome:RebuiltRome")
    register("remake", "xkeb_plugins.methods.remake.editor:MultilingualRetrieval")
    register("rome", "xkeb_plugins.methods.rome:Rome")
    register("scr", "xkeb_plugins.methods.scr.editor:SelectiveContextualReasoning")
    register("serac", "xkeb_plugins.methods.serac.editor:Serac")
    register("ultraedit", "xkeb_plugins.methods.ultraedit.editor:UltraEdit")
    register("wise", "xkeb_plugins.methods.wise.editor:Wise")
    register("xmem", "xkeb_plugins.methods.xmem.editor:CrossLingualMemory")
    register("xmemit", "xkeb_plugins.methods.xmemit.editor:CrossLingualMemit")
    register("xmemit-given", "xkeb_plugins.methods.xmemit.editor:GivenMemit")
    register("xmend", "xkeb_plugins.methods.mend.cross_lingual:CrossLingualMend")
